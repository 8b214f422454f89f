#!/bin/sh
ready() { echo "shop: $1 is ready"; }
