package com.webank.ai.eggroll.framework.storage;

/** The engines of storage-service-cxx, by the names that its protocol has for them. */
public enum Stores {
    LMDB,
    ROCKSDB
}
