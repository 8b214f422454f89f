ready inventory
