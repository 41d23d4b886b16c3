"""The linear models of two companies: logistic, linear and Poisson. See docs/vertical.md."""
