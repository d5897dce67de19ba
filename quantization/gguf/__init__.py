"""GGUF files of Llama-architecture models: header, blocks, tokenizer. Opens no file itself."""
