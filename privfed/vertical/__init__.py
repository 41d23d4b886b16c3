"""Two companies, one linear model, nobody's columns shown. See docs/vertical.md."""
