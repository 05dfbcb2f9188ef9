"""`synfarm verify`: needs Pillow, which the extra `report` brings."""
