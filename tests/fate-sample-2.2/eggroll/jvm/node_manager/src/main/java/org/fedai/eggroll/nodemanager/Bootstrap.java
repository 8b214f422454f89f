package org.fedai.eggroll.nodemanager;

import org.fedai.eggroll.core.Server;

public final class Bootstrap {
    private Bootstrap() {}

    public static void main(String[] args) throws Exception {
        Server.run("nodemanager", args);
    }
}
