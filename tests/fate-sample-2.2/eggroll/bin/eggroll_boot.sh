#!/bin/sh
echo a sample
