"""Tables of records: their columns, their files, and a first look at them."""
