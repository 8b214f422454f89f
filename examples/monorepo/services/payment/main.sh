ready payment
