"""Makes ``secagg_parties`` importable for the suites below this folder."""
