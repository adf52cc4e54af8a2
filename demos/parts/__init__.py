"""What several demos share, or what one needs beside its own story; the demos are one folder up."""
