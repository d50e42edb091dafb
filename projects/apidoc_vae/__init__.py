"""Documentation texts of web services, and a latent space of them."""
