"""Networks of the published sizes on made-up weights, to compare with the official code number by number."""
