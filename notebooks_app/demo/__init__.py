"""What every new user gets to try: the Demo notebook and the data it reads."""
