#!/bin/bash
# Builds eggroll's jars and packs what a machine needs to run it: target/eggroll.tar.gz
set -eu
cd "$(dirname "$0")/.."
mvn -q -Dmaven.test.skip=true -f jvm/pom.xml --projects core,roll_pair,roll_site --also-make clean package
rm -rf target
mkdir -p target/eggroll/lib
cp -r BUILD_INFO bin conf data deploy python target/eggroll/
cp jvm/core/main/resources/create-eggroll-meta-tables.sql target/eggroll/conf/
for module in core roll_pair roll_site; do
    cp jvm/$module/target/lib/*.jar jvm/$module/target/eggroll-*.jar target/eggroll/lib/
done
tar -C target -czf target/eggroll.tar.gz eggroll
