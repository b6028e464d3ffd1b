"""From a video to features: frames, optical flow, Inception-I3D."""
