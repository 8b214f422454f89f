#include "Stores.h"

#include <boost/filesystem.hpp>
#include <rocksdb/db.h>
#include <stdexcept>

#include "third_party/lmdb-safe/lmdb-safe.hh"

namespace {

class LmdbStore : public Store {
public:
    explicit LmdbStore(const std::string& directory)
        : env_(getMDBEnv(directory.c_str(), 0, 0644)), dbi_(env_->openDB("main", MDB_CREATE)) {}

    void put(const std::string& key, const std::string& value) override {
        auto transaction = env_->getRWTransaction();
        transaction.put(dbi_, key, value);
        transaction.commit();
    }

    bool get(const std::string& key, std::string* value) override {
        auto transaction = env_->getROTransaction();
        MDBOutVal out;
        bool found = transaction.get(dbi_, key, out) == 0;
        if (found) {
            *value = out.get<std::string>();
        }
        return found;
    }

private:
    std::shared_ptr<MDBEnv> env_;
    MDBDbi dbi_;
};

class RocksStore : public Store {
public:
    explicit RocksStore(const std::string& directory) {
        rocksdb::Options options;
        options.create_if_missing = true;
        rocksdb::DB* db = nullptr;
        check(rocksdb::DB::Open(options, directory, &db));
        db_.reset(db);
    }

    void put(const std::string& key, const std::string& value) override {
        check(db_->Put(rocksdb::WriteOptions(), key, value));
    }

    bool get(const std::string& key, std::string* value) override {
        rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), key, value);
        if (!status.IsNotFound()) {
            check(status);
        }
        return status.ok();
    }

private:
    static void check(const rocksdb::Status& status) {
        if (!status.ok()) {
            throw std::runtime_error("rocksdb: " + status.ToString());
        }
    }

    std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace

std::unique_ptr<Store> openStore(fate::sample::storage::Engine engine, const std::string& directory) {
    boost::filesystem::create_directories(directory);
    if (engine == fate::sample::storage::ROCKSDB) {
        return std::unique_ptr<Store>(new RocksStore(directory));
    }
    return std::unique_ptr<Store>(new LmdbStore(directory));
}
