"""What a cheap score says of a network that is trained to its end."""
