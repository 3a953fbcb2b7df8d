"""Winograd's 3x3 convolutions on the CPU: kernels in C, their gradients, and the layers that use them."""
