"""Fashion-MNIST: 70,000 pictures of clothes, 28 × 28 pixels, ten classes (Xiao et al. 2017, https://arxiv.org/abs/1708.07747)."""
