"""Scores of images by models of others: kept beside the images, so that training can choose by them."""
