"""One batch on several threads, or on several processes, of one computer or of many."""
