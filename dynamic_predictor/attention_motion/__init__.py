"""Motion masks from the attention of geometry networks, without training (Chen et al., 2025; Hu et al., 2025)."""
