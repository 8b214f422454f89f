ready orders
