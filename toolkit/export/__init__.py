"""Models as programs of other engines (ONNX, OpenVINO, torch.export), each proved against the model it was made of."""
