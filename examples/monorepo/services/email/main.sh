ready email
