package com.webank.eggroll.core;

/** What {@link Bootstrap} starts by name. */
public interface BootstrapBase {
    void start(String conf, String port);
}
