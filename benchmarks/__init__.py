"""Speed against peers and references: `make bench`."""
