"""The doctor: does a running server give right vectors and scores?"""
