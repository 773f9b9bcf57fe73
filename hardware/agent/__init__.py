"""The measuring agent: a process on another machine that measures exported files for this one.

It needs numpy, onnxruntime and psutil, and never imports torch.
"""
