#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "Stores.h"
#include "storage.grpc.pb.h"

/// Keeps the tables under a data directory; each is opened at its first use.
class StorageServicer final : public fate::sample::storage::Storage::Service {
public:
    explicit StorageServicer(const std::string& dataDir) : dataDir_(dataDir) {}

    grpc::Status Put(grpc::ServerContext*, const fate::sample::storage::Entry*, fate::sample::storage::Done*) override;
    grpc::Status Get(grpc::ServerContext*, const fate::sample::storage::Entry*, fate::sample::storage::Found*) override;

private:
    Store& table(const fate::sample::storage::Entry& entry);

    const std::string dataDir_;
    std::mutex mutex_;
    std::map<std::string, std::unique_ptr<Store>> tables_;
};
