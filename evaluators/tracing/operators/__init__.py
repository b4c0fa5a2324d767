"""What is known of each ATen operator: its layer, its costs, how channels pass through it."""
