"""A service's processes: started, watched, and gone with the one that asked for them."""
