"""What a network costs on a device. No runtime that is used here sends its makers statistics of that use."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("NNCF_CI", "1")
