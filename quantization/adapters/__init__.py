"""LoRA adapters: as named arrays, and in the file formats of llama.cpp, PEFT and onnxruntime."""
