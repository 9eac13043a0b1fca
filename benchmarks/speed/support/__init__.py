"""What the speed scripts share: shapes, texts, this package and its peers, one clock, one table, one set of options."""
