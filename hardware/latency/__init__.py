"""From layers to kernel calls, instructions and cycles."""
