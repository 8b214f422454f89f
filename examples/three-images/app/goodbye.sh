echo "goodbye from $(id -u)"
