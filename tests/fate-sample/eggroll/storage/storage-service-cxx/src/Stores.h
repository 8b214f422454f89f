#pragma once

#include <memory>
#include <string>

#include "storage.pb.h"

/// One table. Its calls may come from several threads; errors are thrown.
class Store {
public:
    virtual ~Store() = default;
    virtual void put(const std::string& key, const std::string& value) = 0;
    virtual bool get(const std::string& key, std::string* value) = 0;
};

/// Opens the table in a directory, which is made where it is missing.
std::unique_ptr<Store> openStore(fate::sample::storage::Engine engine, const std::string& directory);
