"""Extraction written out plainly: whole pictures, one snippet at a time, one process."""

import av
import cv2
import numpy as np
import torch


def clips(path, stream):
    """Snippets at the video's own rate, (1, channels, 16, 224, 224)."""
    pictures = []
    for frame in av.open(str(path)).decode(video=0):
        image = frame.to_ndarray(format="rgb24")
        height, width = image.shape[:2]
        size = (round(width * 256 / min(height, width)), round(height * 256 / min(height, width)))
        pictures.append(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    top, left = (grey[0].shape[0] - 224) // 2, (grey[0].shape[1] - 224) // 2
    last = len(pictures) - 2
    for first in range(0, len(pictures) - 15, 16):
        if stream == "rgb":
            clip = np.stack(pictures[first : first + 16]).astype(np.float64) / 255 * 2 - 1
        else:
            method = cv2.optflow.DualTVL1OpticalFlow_create()
            pairs = [min(i, last) for i in range(first, first + 16)]
            clip = np.stack([method.calc(grey[i], grey[i + 1], None) for i in pairs]).clip(-20, 20) / 20
        clip = clip[:, top : top + 224, left : left + 224]
        yield torch.tensor(clip, dtype=torch.float32).permute(3, 0, 1, 2)[None].contiguous()


@torch.inference_mode()
def features(path, stream, network):
    network.to(memory_format=torch.contiguous_format)
    return torch.cat([network(clip) for clip in clips(path, stream)])
