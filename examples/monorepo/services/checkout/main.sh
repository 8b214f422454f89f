ready checkout
