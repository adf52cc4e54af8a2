"""The lesson: everything there is to learn about a convolutional network and its gradients.

It stands alone: nothing in here imports more of tinyunet than `backend` and `errors`.
"""
