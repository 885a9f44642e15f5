"""One network of a basin: ids, orders, checks, lakes and formats."""
