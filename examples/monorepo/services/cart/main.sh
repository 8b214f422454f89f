ready cart
