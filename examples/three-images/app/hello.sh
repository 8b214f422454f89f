echo "hello from $(id -u)"
