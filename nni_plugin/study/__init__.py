"""One search with its journal, without NNI's protocol."""
