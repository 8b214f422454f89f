ready users
