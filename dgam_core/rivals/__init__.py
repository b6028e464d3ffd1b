"""Methods that Tables 3 and 5 compare with, one module each, and how they are trained and localize."""
