"""From a video file to a model's clip: decode exact frames, sample them, preprocess them."""
