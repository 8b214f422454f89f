package org.fedai.eggroll.clustermanager;

import org.fedai.eggroll.core.Server;

public final class Bootstrap {
    private Bootstrap() {}

    public static void main(String[] args) throws Exception {
        Server.run("clustermanager", args);
    }
}
