"""Flash of packed weights and peak RAM of the activations."""
